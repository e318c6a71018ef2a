;;; Run by test_emacs.py -*- lexical-binding: t -*-
;; emacs --batch -f package-initialize -l acepilot.el -l emacs_session.el FILE COMMAND...
;; Eglot opens FILE with COMMAND as Acepilot, completes at the end of the file, and tells what it saw as JSON.

(require 'json)

(defun session-wait (condition)
  (let ((end (+ (float-time) 30)))
    (while (not (funcall condition))
      (when (> (float-time) end) (error "Waited in vain for %S" condition))
      (accept-process-output nil 0.05))))

(let* ((file (pop command-line-args-left))
       (acepilot-command (prog1 command-line-args-left (setq command-line-args-left nil)))
       (eglot-sync-connect t))
  (acepilot-use-in 'python-mode)
  (find-file file)
  (apply #'eglot--connect (eglot--guess-contact))
  (session-wait (lambda () (equal (car acepilot--status) "ready")))
  (goto-char (point-max))
  (let* ((capf (eglot-completion-at-point))
         (offered (all-completions "" (nth 2 capf))))
    (completion-at-point)
    (save-buffer)
    (acepilot-status)
    (princ (json-encode `((offered . ,(vconcat (mapcar #'substring-no-properties offered)))
                          (status . ,(vconcat acepilot--status))))))
  (eglot-shutdown (eglot-current-server)))
