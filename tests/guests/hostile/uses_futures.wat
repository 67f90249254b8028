;; An honest component that also holds a component with a future.
(component
  (type (future u8)))
