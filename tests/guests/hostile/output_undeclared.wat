;; Creates an output that its tool does not declare.
;;@ text:OTHER "results2"
;;@ failed:REFUSED "it is undeclared"
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $create (global.get $OTHER) (global.get $OTHER_LEN) (global.get $MAIN) (global.get $MAIN_LEN) (i32.const 64))
  (if (i32.load8_u (i32.const 64)) (then (return (global.get $REFUSED))))
  (call $finish (i32.load (i32.const 68)))
  (call $finish (call $begin))
  (global.get $REPORT))
