;; Reads an input while it is only asked for its plan.
;;@ plan-inputs ["data"]
(func $plan (param i32 i32 i32 i32 i32 i32) (result i32)
  (call $open (global.get $DATA) (global.get $DATA_LEN) (i32.const 0) (i32.const 0) (i32.const 64))
  (global.get $PLAN))
