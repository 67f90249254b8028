;; Copies its one input to its output in pieces of 64 KiB, raw or decoded: its params are
;; `{"how":N}` with the number that the interface gives to each.
;;@ tool "copies"
;;@ plan-inputs ["data"]
;;@ params-schema "{\"type\":\"object\",\"properties\":{\"how\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":1}},\"required\":[\"how\"],\"additionalProperties\":false}"
(func $run (param $tool i32) (param $tool_len i32) (param $params i32) (param $params_len i32)
  (param $inputs i32) (param $inputs_len i32) (result i32)
  (local $reader i32) (local $writer i32) (local $heap i32)
  (call $open (global.get $DATA) (global.get $DATA_LEN) (i32.const 0)
    ;; The digit before the last brace.
    (i32.sub
      (i32.load8_u (i32.sub (i32.add (local.get $params) (local.get $params_len)) (i32.const 2)))
      (i32.const 48))
    (i32.const 64))
  (if (i32.load8_u (i32.const 64)) (then (unreachable)))
  (local.set $reader (i32.load (i32.const 68)))
  (call $create (global.get $OUT) (global.get $OUT_LEN) (global.get $MAIN) (global.get $MAIN_LEN) (i32.const 64))
  (if (i32.load8_u (i32.const 64)) (then (unreachable)))
  (local.set $writer (i32.load (i32.const 68)))
  (local.set $heap (global.get $heap))
  (block $end
    (loop $more
      ;; What the last read brought has been written: its place can be used again.
      (global.set $heap (local.get $heap))
      (call $read (local.get $reader) (i32.const 65536) (i32.const 64))
      (br_if $end (i32.eqz (i32.load (i32.const 68))))
      (call $write (local.get $writer) (i32.load (i32.const 64)) (i32.load (i32.const 68)))
      (br $more)))
  (call $drop_reader (local.get $reader))
  (call $finish (local.get $writer))
  (call $drop_writer (local.get $writer))
  (global.get $REPORT))
