;; An honest component that also holds a module with references to the host's objects.
(module
  (func (param externref)))
