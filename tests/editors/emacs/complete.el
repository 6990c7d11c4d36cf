;;; complete.el --- Completes at the end of a file through eglot, and prints the text -*- lexical-binding: t -*-

;; Usage: emacs --batch -Q -l SET-UP -l complete.el FILE
;; SET-UP is what a user's configuration says of the server.

(require 'eglot)

(defvar tersely-wait-s 150)

(defun tersely-candidates ()
  "What eglot's completion offers at point now."
  (let ((found (eglot-completion-at-point)))
    (and found (all-completions (buffer-substring (nth 0 found) (nth 1 found)) (nth 2 found)))))

(let ((eglot-sync-connect 60)
      (end-s (+ (float-time) tersely-wait-s)))
  (find-file (pop command-line-args-left))
  (goto-char (point-max))
  (apply #'eglot--connect (eglot--guess-contact))
  ;; Nothing is offered while the engine starts.
  (while (and (null (tersely-candidates)) (< (float-time) end-s))
    (accept-process-output nil 0.2))
  (princ (format "%S\n" (mapcar #'substring-no-properties (tersely-candidates))))
  (completion-at-point)
  (princ (buffer-string))
  (set-buffer-modified-p nil)
  (eglot-shutdown-all))
