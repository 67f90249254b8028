;; Answers with neither a report nor an error.
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $finish (call $begin))
  (i32.store8 (global.get $REPORT) (i32.const 9))
  (global.get $REPORT))
