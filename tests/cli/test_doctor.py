"""The doctor tells what a user needs to know before trusting a machine."""

from pathlib import Path


def test_it_names_processor_data_kernels_precision_and_speed(command, tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    for name in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ):
        (tmp_path / "mnist" / name).write_bytes(b"")
    code, told, _ = command("doctor", "--threads", "1", "--batch-size", "8", "--data-dir", tmp_path)
    lines = told.splitlines()
    assert code == 0
    assert f"data       mnist: {tmp_path / 'mnist'}" in lines
    assert "data       cifar10: not found on this machine" in lines
    for start in (
        "processor  ",
        "threads    1 of ",
        "versions   convscope ",
        "kernels    ",
        "precision  resnet20: ",
    ):
        assert any(line.startswith(start) for line in lines), start
    assert [line.split()[1] for line in lines if line.startswith("speed")] == ["lenet5:", "resnet20:"]
