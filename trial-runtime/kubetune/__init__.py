"""kubetune inside a trial's program: read the parameters, report metrics.

    import kubetune

    config = kubetune.params()
    for epoch in range(config["epochs"]):
        kubetune.report(loss=train(config), epoch=epoch)

Standard library only, Python 3.8 and newer, light to import. The names are made in `_trial` and `_report`; the sidecar that
carries the reports away lives in `sidecar`, and what the two sides say to each other in `wire`.
"""

from kubetune._report import TrialStopped, report
from kubetune._trial import Trial, params, seed, trial

__all__ = ["Trial", "TrialStopped", "params", "report", "seed", "trial"]
