;; Starts two steps, of which the second mounts what the first will make, publishes that, waits for both,
;; and copies what the second made to its output.
;;@ tool "steps"
;;@ plan-inputs ["data"]
;;@ outputs [["out", 1], ["made", 1]]
;;@ text:MADE "made"
;;@ text:ALIGN "align"
;;@ text:SORT "sort"
;;@ text:VERBOSE "-v"
;;@ text:READS "reads.txt"
;;@ text:BAM "a.bam"
;;@ text:BAM_TYPE "BAM"
;;@ text:TXT "deep/b.txt"
;;@ text:TXT_TYPE "TEXT"
;;@ text:THREADS "THREADS"
;;@ text:TWO "2"
(import "helix:toolpack/steps@1.0.0" "start"
  (func $start (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i64) (result i32)))
(import "helix:toolpack/steps@1.0.0" "wait-any" (func $wait_any (param i32 i32) (result i32)))
(import "helix:toolpack/steps@1.0.0" "[method]step.wait" (func $wait (param i32 i32)))
(import "helix:toolpack/steps@1.0.0" "[method]step.capture" (func $capture (param i32 i32 i32) (result i32)))
(import "helix:toolpack/steps@1.0.0" "[method]file.open" (func $open_file (param i32 i32 i32)))
(import "helix:toolpack/steps@1.0.0" "[method]file.publish" (func $publish (param i32 i32 i32 i32 i32 i32)))
(import "helix:toolpack/steps@1.0.0" "[resource-drop]step" (func $drop_step (param i32)))
(import "helix:toolpack/steps@1.0.0" "[resource-drop]file" (func $drop_file (param i32)))
;;; end of imports
;; Puts a text's place at an address.
(func $put (param $at i32) (param $text i32) (param $length i32)
  (i32.store (local.get $at) (local.get $text))
  (i32.store (i32.add (local.get $at) (i32.const 4)) (local.get $length)))
(func $assert (param i32) (if (i32.eqz (local.get 0)) (then (unreachable))))
(func $first (result i32)
  ;; argv: align -v
  (call $put (i32.const 256) (global.get $ALIGN) (global.get $ALIGN_LEN))
  (call $put (i32.const 264) (global.get $VERBOSE) (global.get $VERBOSE_LEN))
  ;; environment: THREADS=2
  (call $put (i32.const 320) (global.get $THREADS) (global.get $THREADS_LEN))
  (call $put (i32.const 328) (global.get $TWO) (global.get $TWO_LEN))
  ;; mounts: data[0] as reads.txt
  (i32.store8 (i32.const 512) (i32.const 0))
  (call $put (i32.const 516) (global.get $DATA) (global.get $DATA_LEN))
  (i32.store (i32.const 524) (i32.const 0))
  (call $put (i32.const 528) (global.get $READS) (global.get $READS_LEN))
  ;; captures: a.bam
  (call $put (i32.const 768) (global.get $BAM) (global.get $BAM_LEN))
  (call $put (i32.const 776) (global.get $BAM_TYPE) (global.get $BAM_TYPE_LEN))
  (call $start (global.get $ALIGN) (global.get $ALIGN_LEN) (i32.const 256) (i32.const 2)
    (i32.const 320) (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 768) (i32.const 1)
    (i32.const 2) (i64.const 1048576) (i64.const 60)))
(func $second (param $file i32) (result i32)
  (call $put (i32.const 256) (global.get $SORT) (global.get $SORT_LEN))
  ;; mounts: the file as a.bam
  (i32.store8 (i32.const 512) (i32.const 1))
  (i32.store (i32.const 516) (local.get $file))
  (call $put (i32.const 528) (global.get $BAM) (global.get $BAM_LEN))
  (call $put (i32.const 768) (global.get $TXT) (global.get $TXT_LEN))
  (call $put (i32.const 776) (global.get $TXT_TYPE) (global.get $TXT_TYPE_LEN))
  (call $start (global.get $SORT) (global.get $SORT_LEN) (i32.const 256) (i32.const 1)
    (i32.const 0) (i32.const 0) (i32.const 512) (i32.const 1) (i32.const 768) (i32.const 1)
    (i32.const 1) (i64.const 1048576) (i64.const 60)))
(func $run (param i32 i32 i32 i32 i32 i32) (result i32)
  (local $first i32) (local $second i32) (local $bam i32) (local $txt i32) (local $reader i32) (local $writer i32)
  (local.set $first (call $first))
  (local.set $bam (call $capture (local.get $first) (global.get $BAM) (global.get $BAM_LEN)))
  (local.set $second (call $second (local.get $bam)))
  (local.set $txt (call $capture (local.get $second) (global.get $TXT) (global.get $TXT_LEN)))
  (call $publish (local.get $bam) (global.get $MADE) (global.get $MADE_LEN) (global.get $MAIN) (global.get $MAIN_LEN)
    (i32.const 64))
  (call $assert (i32.eqz (i32.load8_u (i32.const 64))))
  ;; A key is free once.
  (call $publish (local.get $bam) (global.get $MADE) (global.get $MADE_LEN) (global.get $MAIN) (global.get $MAIN_LEN)
    (i32.const 64))
  (call $assert (i32.load8_u (i32.const 64)))
  (call $drop_file (local.get $bam))
  ;; Of the second and the first, the first is the first.
  (i32.store (i32.const 1024) (local.get $second))
  (i32.store (i32.const 1028) (local.get $first))
  (call $assert (i32.eq (call $wait_any (i32.const 1024) (i32.const 2)) (i32.const 1)))
  (call $wait (local.get $second) (i32.const 64))
  (call $assert (i32.eqz (i32.load8_u (i32.const 64))))
  (call $assert (i32.eqz (i32.load (i32.const 68))))
  (call $open_file (local.get $txt) (i32.const 1) (i32.const 64))
  (call $assert (i32.eqz (i32.load8_u (i32.const 64))))
  (local.set $reader (i32.load (i32.const 68)))
  (local.set $writer (call $begin))
  (call $read (local.get $reader) (i32.const 65536) (i32.const 72))
  (call $write (local.get $writer) (i32.load (i32.const 72)) (i32.load (i32.const 76)))
  (call $finish (local.get $writer))
  (call $drop_step (local.get $first))
  (call $drop_step (local.get $second))
  (global.get $REPORT))
