(import "helix:toolpack/artifacts@1.0.0" "open" (func $open (param i32 i32 i32 i32 i32)))
(import "helix:toolpack/artifacts@1.0.0" "[method]reader.read" (func $read (param i32 i32 i32)))
(import "helix:toolpack/artifacts@1.0.0" "[method]reader.read-at" (func $read_at (param i32 i64 i32 i32)))
(import "helix:toolpack/artifacts@1.0.0" "[resource-drop]reader" (func $drop_reader (param i32)))
(import "helix:toolpack/outputs@1.0.0" "create" (func $create (param i32 i32 i32 i32 i32)))
(import "helix:toolpack/outputs@1.0.0" "[method]writer.write" (func $write (param i32 i32 i32)))
(import "helix:toolpack/outputs@1.0.0" "[method]writer.finish" (func $finish (param i32)))
(import "helix:toolpack/outputs@1.0.0" "[resource-drop]writer" (func $drop_writer (param i32)))
(import "helix:toolpack/log@1.0.0" "log" (func $log (param i32 i32 i32)))
(import "helix:toolpack/log@1.0.0" "progress" (func $progress (param i64 i32 i64 i32 i32)))
;;; end of imports
;;; (func $realloc
;; Never frees: a run is short and its memory is its own.
(func $realloc (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
  (local $at i32)
  (local.set $at
    (i32.and
      (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
  (global.set $heap (i32.add (local.get $at) (local.get $size)))
  (block $enough
    (loop $more
      (br_if $enough (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
      (unreachable)))
  (local.get $at))
;;; (func $describe
(func $describe (result i32) (global.get $MANIFEST))
;;; (func $plan
(func $plan (param i32 i32 i32 i32 i32 i32) (result i32) (global.get $PLAN))
;;; (func $run
(func $run (param $tool i32) (param $tool_len i32) (param $params i32) (param $params_len i32)
  (param $inputs i32) (param $inputs_len i32) (result i32)
  (call $finish (call $begin))
  (global.get $REPORT))
;;; (func $begin
;; Creates the output `out` with one line in it and gives its writer.
(func $begin (result i32)
  (local $writer i32)
  (call $create (global.get $OUT) (global.get $OUT_LEN) (global.get $MAIN) (global.get $MAIN_LEN) (i32.const 64))
  (if (i32.load8_u (i32.const 64)) (then (unreachable)))
  (local.set $writer (i32.load (i32.const 68)))
  (call $write (local.get $writer) (global.get $HELLO) (global.get $HELLO_LEN))
  (local.get $writer))
;;; (export "describe"
(export "describe" (func $describe))
;;; (export "plan"
(export "plan" (func $plan))
;;; (export "run"
(export "run" (func $run))
;;; (export "cabi_realloc"
(export "cabi_realloc" (func $realloc))
