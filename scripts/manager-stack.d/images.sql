-- Images that agents are said to offer. The registry's type `local` keeps the manager from looking for them anywhere.
-- Variable: architecture, as `uname -m` says it.
CREATE TEMPORARY TABLE wanted (tag text, runtime text);
INSERT INTO wanted VALUES ('3.11-debian', 'python'), ('broken', 'no-such-runtime');

INSERT INTO images (
  name, project, image, tag, registry, registry_id, architecture, config_digest, size_bytes, is_local, type, labels, resources
)
SELECT
  'localhost/test/python:' || tag, 'test', 'test/python', tag, 'localhost', 'a6c3f2b4-51f0-4c3b-9d1e-6f3d4a0c7b03',
  :'architecture', rpad('sha256:' || md5(tag), 72, '0'), 1000000, true, 'COMPUTE',
  json_build_object(
    'ai.backend.kernelspec', '1',
    'ai.backend.role', 'COMPUTE',
    'ai.backend.runtime-type', runtime,
    'ai.backend.runtime-path', '/usr/bin/python3',
    'ai.backend.features', 'batch query uid-match user-input',
    'ai.backend.base-distro', 'ubuntu20.04',
    'ai.backend.resource.min.cpu', '1',
    'ai.backend.resource.min.mem', '64m',
    'ai.backend.service-ports', 'jupyter:http:8070,tensorboard:http:6006'
  ),
  '{"cpu": {"min": "1", "max": null}, "mem": {"min": "64m", "max": null}}'
FROM wanted;
