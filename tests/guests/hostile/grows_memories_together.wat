;; An honest component with three more instances, each of which takes 26 MB when it starts: each is
;; within what a description may use, all of them are not.
;;@ instantiate 3
(module
  (memory 1)
  (func $grow (drop (memory.grow (i32.const 400))))
  (start $grow))
