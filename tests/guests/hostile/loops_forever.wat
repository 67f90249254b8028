;; A run that never returns.
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (loop $spin (br $spin))
  (unreachable))
