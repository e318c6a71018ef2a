{{/* Labels that select the pods of one part: {{ include "acepilot.labels" (list . "server") }} */}}
{{- define "acepilot.labels" -}}
app.kubernetes.io/name: acepilot
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* vLLM's pods by name: the server itself chooses among them, by load and by what their caches hold. */}}
{{- define "acepilot.upstream" -}}
{{- range $number := until (int .Values.vllm.replicas) -}}
{{- if $number }},{{ end -}}
http://{{ $.Release.Name }}-vllm-{{ $number }}.{{ $.Release.Name }}-vllm:8000
{{- end -}}
{{- end }}

{{- define "acepilot.claim" -}}
{{ .Values.models.existingClaim | default (printf "%s-models" .Release.Name) }}
{{- end }}

{{/* Pods of one part go to different machines, where there are several. */}}
{{- define "acepilot.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "acepilot.labels" . | nindent 8 }}
{{- end }}
