"""Parts of `tools/train_builtin.py`: the split, the teacher, the cached views and the student."""
