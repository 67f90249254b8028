;; An honest component that also holds a module with as many functions as a large program has: it is
;; allowed, and the compiler has something to do.
;;@ repeat:FUNCTIONS [20000, "(func (param i32) (result i32) (i32.add (local.get 0) (i32.const {n})))\n"]
(module
  <<FUNCTIONS>>)
