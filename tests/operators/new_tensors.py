"""What PyTorch allocates while a function runs."""


def count_new_tensors(function, size):
    """Returns how many tensors, of a size or more, the operations make.

    Args:
        function: Function without arguments.
        size: Integer. Number of elements from which on a tensor counts.
    """
    import torch
    from torch.utils import _python_dispatch

    class Counting(_python_dispatch.TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            known = {_address(value) for value in args if _is_tensor(value)}
            results = operation(*args, **(kwargs or {}))
            found = results if isinstance(results, (tuple, list)) else [results]
            for result in found:
                if _is_tensor(result) and result.numel() >= size:
                    self.count += _address(result) not in known
            return results

    def _is_tensor(value):
        return isinstance(value, torch.Tensor)

    def _address(tensor):
        return tensor.untyped_storage().data_ptr()

    with Counting() as counting:
        function()
    return counting.count
