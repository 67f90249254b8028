;; An honest component that also holds one in one in one, so deep.
;;@ each [17, 50, 500, 5000]
;;@ nest <<each>>
