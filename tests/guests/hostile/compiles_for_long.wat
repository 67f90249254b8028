;; An honest component that also holds functions which are small to write and slow to compile: more
;; than this policy gives to a compilation.
;;@ limits {"compile.cpu": "\"1s\""}
;;@ repeat:FUNCTIONS [200, "(func (param i32) <<CALLS>>)\n"]
;;@ repeat:CALLS [2000, "(call_indirect (param i32) (local.get 0) (local.get 0))"]
(module
  (table 1 funcref)
  <<FUNCTIONS>>)
