;; Answers at an address that it does not have.
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $finish (call $begin))
  (i32.const 0xfffffff0))
