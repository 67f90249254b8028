;; Calls itself until the stack ends.
(func $deeper (param i32) (result i32)
  (i32.add (local.get 0) (call $deeper (i32.add (local.get 0) (i32.const 1)))))
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $deeper (i32.const 0))
  (drop)
  (global.get $REPORT))
