from workers.check.traces import place_of

CRASH = """Fatal Python error: Aborted

Current thread 0x00007f2a2aa13b80 (most recent call first):
  File "/tmp/tangent-check-x/candidate/src/slim/__init__.py", line 17 in step
  File "/tmp/tangent-check-x/candidate/src/slim/outer.py", line 3 in outer
  File "/lib/torch/optim/optimizer.py", line 530 in wrapper
"""
RAISED = """Traceback (most recent call last):
  File "/home/ada/probe/session.py", line 49, in answer
    return COMMANDS[command](make)
  File "/tmp/tangent-check-x/candidate/slim.py", line 8, in step
    torch.mm(a, b)
  File "/lib/torch/functional.py", line 9, in mm
    raise ValueError(7)
ValueError: 7
"""


def test_a_crash_is_placed_at_the_sides_innermost_own_line():
    assert place_of(CRASH, "candidate") == "It was in step, line 17 of src/slim/__init__.py."


def test_an_exception_is_placed_at_the_sides_innermost_own_line():
    assert place_of(RAISED, "candidate") == "It was in step, line 8 of slim.py."


def test_code_that_is_in_no_checkout_is_placed_at_the_innermost_line():
    assert place_of(RAISED, "baseline") == "It was in mm, line 9 of /lib/torch/functional.py."


def test_a_log_without_frames_has_no_place():
    assert place_of("killed", "candidate") == ""
