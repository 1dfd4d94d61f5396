{{/* First part of all names: "lectern" for a release that is called so, else release and chart. */}}
{{- define "lectern.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "lectern.operator" -}}
{{ include "lectern.fullname" . }}-operator
{{- end }}

{{- define "lectern.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "lectern.operator" .) .Values.serviceAccount.name }}
{{- else -}}
{{ required "serviceAccount.name: name the account that the operator runs as, or set serviceAccount.create" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- define "lectern.release" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What finds the operator's pods; never changes within a release. */}}
{{- define "lectern.selector" -}}
{{ include "lectern.release" . }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Labels of one part of the release: (list . "operator"). */}}
{{- define "lectern.labelsOf" -}}
{{- $root := index . 0 -}}
{{ include "lectern.release" $root }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: lectern
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "lectern.labels" -}}
{{ include "lectern.labelsOf" (list . "operator") }}
{{- end }}

{{/* One of Lectern's own images: (list . "worker"). */}}
{{- define "lectern.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
{{- $name := ternary (printf "%s/%s" $root.Values.images.registry $image.repository) $image.repository (ne $root.Values.images.registry "") -}}
{{- if $image.digest -}}
{{ $name }}@{{ $image.digest }}
{{- else -}}
{{ $name }}:{{ default $root.Chart.AppVersion $image.tag }}
{{- end -}}
{{- end }}

{{- define "lectern.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "lectern.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "lectern.pullSecrets" -}}
{{- with .Values.images.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end -}}
{{- end }}

{{/* Where the release's pods may run. */}}
{{- define "lectern.placement" -}}
{{- $placement := dict -}}
{{- with .Values.operator.nodeSelector }}{{ $_ := set $placement "nodeSelector" . }}{{ end -}}
{{- with .Values.operator.tolerations }}{{ $_ := set $placement "tolerations" . }}{{ end -}}
{{- if $placement -}}
{{ toYaml $placement }}
{{- end -}}
{{- end }}

{{/* A map as key=value with commas, in the order of the keys. */}}
{{- define "lectern.pairs" -}}
{{- $pairs := list -}}
{{- range $key, $value := . }}{{ $pairs = append $pairs (printf "%s=%s" $key $value) }}{{ end -}}
{{ join "," $pairs }}
{{- end }}

{{/* The bindings' subject. */}}
{{- define "lectern.subject" -}}
- kind: ServiceAccount
  name: {{ include "lectern.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
