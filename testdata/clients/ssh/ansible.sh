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
