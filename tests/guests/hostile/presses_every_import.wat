;; Calls the import and with the numbers that its params name, after it has opened what it may: a
;; reader (handle 1), a reader that it gave back (2) and a writer (3).
;;@ plan-inputs ["data"]
;;@ pages 20
;;@ params-schema "{\"type\":\"object\",\"properties\":{\"press\":{\"type\":\"string\",\"maxLength\":200}},\"required\":[\"press\"],\"additionalProperties\":false}"
(global $at (mut i32) (i32.const 0))
(global $end (mut i32) (i32.const 0))
;; The next number of the params; 0 where there is none.
(func $next (result i64)
  (local $byte i32) (local $number i64) (local $sign i64)
  (local.set $sign (i64.const 1))
  (block $found
    (loop $skip
      (if (i32.ge_u (global.get $at) (global.get $end)) (then (return (i64.const 0))))
      (local.set $byte (i32.load8_u (global.get $at)))
      (br_if $found (i32.lt_u (i32.sub (local.get $byte) (i32.const 48)) (i32.const 10)))
      (if (i32.eq (local.get $byte) (i32.const 45)) (then (local.set $sign (i64.const -1))))
      (global.set $at (i32.add (global.get $at) (i32.const 1)))
      (br $skip)))
  (loop $more
    (local.set $byte (i32.sub (i32.load8_u (global.get $at)) (i32.const 48)))
    (if (i32.lt_u (local.get $byte) (i32.const 10))
      (then
        (local.set $number
          (i64.add (i64.mul (local.get $number) (i64.const 10)) (i64.extend_i32_u (local.get $byte))))
        (global.set $at (i32.add (global.get $at) (i32.const 1)))
        (br_if $more (i32.lt_u (global.get $at) (global.get $end))))))
  (i64.mul (local.get $number) (local.get $sign)))
(func $n (result i32) (i32.wrap_i64 (call $next)))
(func $run (param $tool i32) (param $tool_len i32) (param $params i32) (param $params_len i32)
  (param $inputs i32) (param $inputs_len i32) (result i32)
  (call $open (global.get $DATA) (global.get $DATA_LEN) (i32.const 0) (i32.const 0) (i32.const 64))
  (call $open (global.get $DATA) (global.get $DATA_LEN) (i32.const 0) (i32.const 0) (i32.const 64))
  (drop (call $begin))
  (call $drop_reader (i32.const 2))
  (global.set $at (local.get $params))
  (global.set $end (i32.add (local.get $params) (local.get $params_len)))
  (block $progress (block $log (block $drop_writer (block $finish (block $write (block $create
    (block $drop_reader (block $read_at (block $read (block $open
      (br_table $open $read $read_at $drop_reader $create $write $finish $drop_writer $log $progress (call $n)))
      (call $open (call $n) (call $n) (call $n) (call $n) (i32.const 72)) (return (global.get $REPORT)))
      (call $read (call $n) (call $n) (i32.const 72)) (return (global.get $REPORT)))
      (call $read_at (call $n) (call $next) (call $n) (i32.const 72)) (return (global.get $REPORT)))
      (call $drop_reader (call $n)) (return (global.get $REPORT)))
      (call $create (call $n) (call $n) (call $n) (call $n) (i32.const 72)) (return (global.get $REPORT)))
      (call $write (call $n) (call $n) (call $n)) (return (global.get $REPORT)))
      (call $finish (call $n)) (return (global.get $REPORT)))
      (call $drop_writer (call $n)) (return (global.get $REPORT)))
      (call $log (call $n) (call $n) (call $n)) (return (global.get $REPORT)))
  (call $progress (call $next) (call $n) (call $next) (call $n) (call $n))
  (global.get $REPORT))
