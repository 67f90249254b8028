;; A data segment that begins at the last address.
(data (i32.const 0xffffffff) "xx")
