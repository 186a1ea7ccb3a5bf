"""Text that would run, or end a page, if the report did not escape it."""

HOSTILE = "<script>alert('x')</script> & $\\frac{1}{2}$"
