;; An honest component that also holds a module with garbage-collected types.
(module
  (type $point (struct (field i32)))
  (func (drop (struct.new $point (i32.const 1)))))
