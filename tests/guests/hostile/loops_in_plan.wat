;; A plan that never returns.
(func $plan (param i32 i32 i32 i32 i32 i32) (result i32)
  (loop $spin (br $spin))
  (unreachable))
