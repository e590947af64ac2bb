package natsauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// early is how long before now a certificate begins to be valid: clocks differ.
const early = 5 * time.Minute

// makeAuthority makes the key and the certificate that the server's is signed
// with.
func (f *Files) makeAuthority() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert, err := template("Drayage NATS authority", authorityOf)
	if err != nil {
		return err
	}
	cert.IsCA, cert.BasicConstraintsValid = true, true
	cert.MaxPathLenZero = true // it signs servers, and no other authority
	cert.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return err
	}
	return f.putPair(fileCA, der, fileCAKey, key)
}

// certify makes a key and a certificate for the server.
func (f *Files) certify(valid time.Duration) error {
	caText, err := f.read(fileCA)
	if err != nil {
		return err
	}
	keyText, err := f.read(fileCAKey)
	if err != nil {
		return err
	}
	defer clear(keyText)
	pair, err := tls.X509KeyPair(caText, keyText)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert, err := template(f.state.Hosts[0], valid)
	if err != nil {
		return err
	}
	cert.KeyUsage = x509.KeyUsageDigitalSignature
	cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range f.state.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			cert.IPAddresses = append(cert.IPAddresses, ip)
		} else {
			cert.DNSNames = append(cert.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, pair.Leaf, key.Public(), pair.PrivateKey)
	if err != nil {
		return err
	}
	return f.putPair(fileServerCert, der, fileServerKey, key)
}

func template(name string, valid time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-early), NotAfter: now.Add(valid),
	}, nil
}

func (f *Files) putPair(certFile string, der []byte, keyFile string, key *ecdsa.PrivateKey) error {
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	defer clear(text)
	if err := f.put(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}), 0o600); err != nil {
		return err
	}
	return f.put(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}
