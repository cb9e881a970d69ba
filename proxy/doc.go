// Package proxy is what every protocol handler shares.
package proxy
