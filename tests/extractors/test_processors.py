"""Embeddings do not depend on the batch, whatever instructions the processor offers.

oneDNN, MKL and ATen choose their kernels by processor. How far they may go is read once, at the first import, so the
tests that compare single utterances with batches run again in processes with older instruction sets.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SINGLE_AGAINST_BATCHED = (
    "extractors/layers/test_pca.py::test_a_weak_component_does_not_depend_on_the_rows_projected_together",
    "extractors/runs/test_closed_form.py::test_single_equals_batched_equals_read_by_workers",
    "extractors/audio/test_mel_resnet.py::test_a_clip_has_the_same_embedding_single_and_in_a_batch",
    "extractors/audio/test_speech_encoder.py::test_a_clip_has_the_same_embedding_single_and_in_a_batch",
    "extractors/layers/test_encoder.py::test_single_equals_batched",
    "extractors/visual/test_face_scene.py::test_company_in_the_batch_changes_nothing",
    "extractors/extraction/test_embedding.py",
    "m2fnet/media/test_mtcnn.py::test_company_in_the_batch_changes_nothing",
)
LIMITS = {
    "sse": {"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ATEN_CPU_CAPABILITY": "default"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
}


@pytest.mark.slow
@pytest.mark.parametrize("instructions", LIMITS)
def test_embeddings_do_not_depend_on_the_batch_with_older_instructions(instructions, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={tmp_path / 'tests'}"]
        + [str(TESTS.parent / node) for node in SINGLE_AGAINST_BATCHED],
        cwd=TESTS.parents[1], env=os.environ | LIMITS[instructions], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
