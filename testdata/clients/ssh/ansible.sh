#!/bin/bash
# ansible-core with and without pipelining, over two hosts.
. "$LIB/lib.sh"
export HOME=$PWD ANSIBLE_HOST_KEY_CHECKING=True ANSIBLE_RETRY_FILES_ENABLED=False ANSIBLE_LOCALHOST_WARNING=False
export ANSIBLE_SSH_ARGS="-F $JIT_SSH_CONFIG" ANSIBLE_SSH_CONTROL_PATH_DIR=$PWD/cp ANSIBLE_NOCOLOR=1

cat >hosts <<'H'
[web]
web01
web02
[web:vars]
ansible_python_interpreter=/usr/bin/python3
H
cat >play.yml <<'P'
- hosts: web
  gather_facts: true
  tasks:
    - copy: {content: "from ansible\n", dest: "{{ ansible_env.HOME }}/ansible.txt", mode: "0640"}
    - command: cat ansible.txt
      register: out
    - assert:
        that:
          - out.stdout == "from ansible"
          - ansible_user_id == "deploy"
    - fetch: {src: "{{ ansible_env.HOME }}/ansible.txt", dest: "fetched/{{ inventory_hostname }}", flat: true}
    - script: script.sh one
      register: s
    - assert:
        that: s.stdout_lines[0] == "script one"
P
printf '#!/bin/sh\necho "script $1"\n' >script.sh
for pipelining in True False; do
	rm -rf fetched
	ANSIBLE_PIPELINING=$pipelining ansible-playbook -i hosts play.yml >out || { cat out; exit 1; }
	same "pipelining $pipelining" "$(cat fetched/web01 fetched/web02)" "$(printf 'from ansible\nfrom ansible')"
done

# The role for hosts, into a directory of its own: what it writes is what sshd
# takes, and a second run changes nothing.
mkdir -p etc/sshd_config.d
cat >role.yml <<'P'
- hosts: localhost
  connection: local
  gather_facts: false
  roles: [jit_gateway_host]
P
role() {
	ANSIBLE_ROLES_PATH=$LIB/../../../configs/ansible/roles ansible-playbook -i localhost, role.yml -e "jit_gateway_ssh_dir=$PWD/etc jit_gateway_sshd_service='' jit_gateway_target=web01" \
		-e '{"jit_gateway_user_cas": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF1pgVriediQYeWzWA/M7pVfo/qqKFwNYndb26ZxN2FM"], "jit_gateway_logins": ["deploy", "admin"]}' "$@" >out || { cat out; exit 1; }
}
role --syntax-check
role
same "the principals" "$(cat etc/auth_principals/deploy etc/auth_principals/admin)" "$(printf 'deploy@web01\nadmin@web01')"
[ "$(/usr/sbin/sshd -T -f etc/sshd_config.d/50-jit-gateway.conf | grep -cE "^(trustedusercakeys|authorizedprincipalsfile|revokedkeys) $PWD/etc/")" = 3 ] || { echo "sshd does not take what the role wrote"; exit 1; }
role
grep -q 'changed=0 .*failed=0' out || { cat out; exit 1; }
