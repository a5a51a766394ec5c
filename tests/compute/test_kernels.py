"""The report of oneDNN is read; a fallback to the reference code is noticed."""

from convscope.compute.kernels import is_reference, parse

REPORT = """\
onednn_verbose,v1,info,oneDNN v3.7.1 (commit abc)
onednn_verbose,v1,primitive,exec,cpu,convolution,brgconv:avx512_core,forward_training,src:f32,,,ic16oc16,0.5
onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,src:f32,,,16x16,0.1
onednn_verbose,v1,primitive,exec,cpu,convolution,ref:any,backward_data,src:f32,,,ic16oc16,155.0
"""


def test_convolutions_are_read_from_the_report_and_reorders_are_not() -> None:
    assert parse(REPORT) == {"forward training": "brgconv:avx512_core", "backward data": "ref:any"}


def test_only_the_reference_code_is_called_so() -> None:
    assert [is_reference(name) for name in ("ref:any", "brgconv:avx512_core", "jit:avx2")] == [
        True,
        False,
        False,
    ]
