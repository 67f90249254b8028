;; Names an output as a path.
;;@ text:KEY "../../escape"
;;@ failed:REFUSED "it is a bad key"
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $create (global.get $OUT) (global.get $OUT_LEN) (global.get $KEY) (global.get $KEY_LEN) (i32.const 64))
  (if (i32.load8_u (i32.const 64)) (then (return (global.get $REFUSED))))
  (call $finish (i32.load (i32.const 68)))
  (global.get $REPORT))
