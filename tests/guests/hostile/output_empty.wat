;; Writes nothing where it declares a BAM.
;;@ output-type "BAM"
;;@ output-check 2
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $create (global.get $OUT) (global.get $OUT_LEN) (global.get $MAIN) (global.get $MAIN_LEN) (i32.const 64))
  (if (i32.load8_u (i32.const 64)) (then (unreachable)))
  (call $finish (i32.load (i32.const 68)))
  (global.get $REPORT))
