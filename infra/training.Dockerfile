# The image that training jobs run in. From the root of the checkout:
#
#     docker build --file infra/training.Dockerfile --build-arg GIT_COMMIT=$(git rev-parse HEAD) .
#
# The base is pinned to a release of Python. Its tag may be built anew when Debian is patched:
# CodeBuild resolves it to a digest when it builds, and records that digest with the image.
FROM public.ecr.aws/docker/library/python:3.12.13-slim-bookworm

# Not below /opt/ml: SageMaker mounts its own folders over what an image has there.
WORKDIR /opt/trading_system

COPY requirements.txt ./
RUN pip install --no-cache-dir --only-binary :all: --require-hashes --requirement requirements.txt

# LightGBM needs an OpenMP runtime of the system's, and this system has none. Scikit-learn's wheel
# has one: pinned by its hash as all packages are, and the same that Lambda's layer has.
ENV LD_LIBRARY_PATH=/opt/openmp
RUN mkdir /opt/openmp \
    && ln -s /usr/local/lib/python3.*/site-packages/scikit_learn.libs/libgomp-*.so* \
        /opt/openmp/libgomp.so.1 \
    && python -c "import lightgbm"

COPY config.json ./
COPY strategy/ strategy/
COPY store/ store/
COPY registry/ registry/
COPY training/ training/

# A container has no git: registry/code_version.py reads the commit from here.
ARG GIT_COMMIT=unknown
ENV GIT_COMMIT=${GIT_COMMIT} \
    PYTHONPATH=/opt/trading_system \
    PYTHONUNBUFFERED=1

# It runs as root, because what SageMaker mounts below /opt/ml belongs to root: another user could
# write neither checkpoints nor results, nor say in /opt/ml/output/failure why it failed.

# As a list, so that Python is the container's first process and receives SIGTERM itself. The same
# as the request's ContainerEntrypoint, for whoever runs the image without one.
ENTRYPOINT ["python", "-m", "training.job"]
