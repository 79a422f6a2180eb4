// Package helm pins the Helm that installs the charts in tests.
package helm

import _ "helm.sh/helm/v4/cmd/helm"
