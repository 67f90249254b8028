;; Offers the host the same memory for everything, which holds the guest's own data too. Only the
;; guest sees what becomes of it.
(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const 0))
