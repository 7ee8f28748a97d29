{{- define "kubetune.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "kubetune.fullname" -}}
{{- $name := include "kubetune.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | replace "." "-" | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "kubetune.selectorLabels" -}}
app.kubernetes.io/name: {{ include "kubetune.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "kubetune.labels" -}}
{{ include "kubetune.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: kubetune
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "kubetune.serviceAccountName" -}}
{{- default (ternary (include "kubetune.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "kubetune.claim" -}}
{{- default (printf "%s-results" (include "kubetune.fullname" .)) .Values.persistence.existingClaim }}
{{- end }}

{{- /* An image's reference, from (list . IMAGE): the one registry unless it has its own, the digest before the tag. */ -}}
{{- define "kubetune.image" -}}
{{- $root := index . 0 }}
{{- $image := index . 1 }}
{{- with default $root.Values.image.registry $image.registry }}{{ . }}/{{ end }}
{{- $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default $root.Chart.AppVersion $image.tag }}{{ end }}
{{- end }}

{{- /* What the operator may do in a namespace that it watches: all that it does, and no more. */ -}}
{{- define "kubetune.rules" -}}
- apiGroups: [kubetune.dev]
  resources: [tuneexperiments]
  verbs: [get, list, watch, delete] # delete is for ttlSecondsAfterFinished
- apiGroups: [kubetune.dev]
  resources: [tuneexperiments/status]
  verbs: [patch]
- apiGroups: [kubetune.dev]
  resources: [tuneexperiments/finalizers]
  verbs: [update] # asked of whoever makes pods that block their owner's deletion; finalizers are never set
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get] # for trials without `command`, which have no launcher
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}
