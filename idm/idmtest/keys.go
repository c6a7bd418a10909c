package idmtest

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// savedKey is a certificate chain and its key as the state file holds them.
type savedKey struct {
	Chain [][]byte
	Key   []byte
}

func saveKey(chain [][]byte, key crypto.PrivateKey) savedKey {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return savedKey{} // only for kinds of keys we do not make
	}
	return savedKey{Chain: chain, Key: der}
}

func saveAuthority(a *authority) savedKey { return saveKey([][]byte{a.cert.Raw}, a.key) }

func saveCertificate(c *tls.Certificate) savedKey { return saveKey(c.Certificate, c.PrivateKey) }

func (k savedKey) load() (*x509.Certificate, crypto.Signer, error) {
	if len(k.Chain) == 0 {
		return nil, nil, errors.New("idmtest: no certificate in the state")
	}
	cert, err := x509.ParseCertificate(k.Chain[0])
	if err != nil {
		return nil, nil, fmt.Errorf("idmtest: certificate in the state: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(k.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("idmtest: key in the state: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, nil, errors.New("idmtest: key in the state cannot sign")
	}
	return cert, signer, nil
}

func (k savedKey) authority(legacy bool) (*authority, error) {
	cert, key, err := k.load()
	if err != nil {
		return nil, err
	}
	return &authority{key: key, cert: cert, legacy: legacy}, nil
}

func (k savedKey) certificate() (*tls.Certificate, error) {
	cert, key, err := k.load()
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: k.Chain, PrivateKey: key, Leaf: cert}, nil
}
