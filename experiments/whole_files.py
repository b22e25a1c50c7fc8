"""Files that are there whole, or as they were before."""


def write_whole(path, write):
    """Writes a file, and leaves an older one as it is until that is done.

    Args:
        path: Where to.
        write: Function of the path of another file in the same folder, which
            takes its place.
    """
    partial = path.with_name("partial-" + path.name)
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
