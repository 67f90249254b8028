;; Logs ninety thousand lines with nothing in them.
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (local $left i32)
  (local.set $left (i32.const 90000))
  (loop $again
    (call $log (i32.const 0) (i32.const 0) (i32.const 0))
    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (call $finish (call $begin))
  (global.get $REPORT))
