{{- /* The name of nearly everything: `istiod`, or `istiod-REVISION`. */}}
{{- define "istiod.name" -}}
istiod{{ with .Values.revision }}-{{ . }}{{ end }}
{{- end }}

{{- /* The revision as proxies and objects name it. */}}
{{- define "istiod.revision" -}}
{{ .Values.revision | default "default" }}
{{- end }}

{{- /* The suffix of names that Istio gives to the objects of a revision: `` or `-REVISION`. */}}
{{- define "istiod.suffix" -}}
{{ with .Values.revision }}-{{ . }}{{ end }}
{{- end }}

{{- define "istiod.rootNamespace" -}}
{{ .Values.meshConfig.rootNamespace | default .Values.global.istioNamespace | default .Release.Namespace }}
{{- end }}

{{- define "istiod.image" -}}
{{- $hub := .Values.hub | default .Values.global.hub -}}
{{- $tag := .Values.tag | default .Values.global.tag | default .Chart.AppVersion -}}
{{ with $hub }}{{ . }}/{{ end }}{{ .Values.image }}:{{ $tag }}
{{- end }}

{{- /* Names of cluster-wide objects carry the namespace: two releases must not fight over them. */}}
{{- define "istiod.clusterName" -}}
istiod-clusterrole{{ include "istiod.suffix" . }}-{{ .Release.Namespace }}
{{- end }}

{{- define "istiod.labels" -}}
app: istiod
istio.io/rev: {{ include "istiod.revision" . | quote }}
app.kubernetes.io/name: istiod
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: istio
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{- /* What the Service and the Deployment select. Never changed: a Deployment's selector is immutable. */}}
{{- define "istiod.selector" -}}
app: istiod
istio.io/rev: {{ include "istiod.revision" . | quote }}
{{- end }}
