;; Plans to read nothing although the call links an input.
