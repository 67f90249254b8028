;; Logs four megabytes.
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (local $left i32)
  (local.set $left (i32.const 64))
  (loop $again
    (call $log (i32.const 1) (i32.const 131072) (i32.const 65536))
    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (call $finish (call $begin))
  (global.get $REPORT))
