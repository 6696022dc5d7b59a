"""The page of `m2fnet serve`: a clip dropped into a browser comes back as a timeline of emotions and a spectrogram.

A clip goes ``static/page.js -> uploads -> app (gradio's queue) -> worker (a process with the model) -> page.js``.
"""
