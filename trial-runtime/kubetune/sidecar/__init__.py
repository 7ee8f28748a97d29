"""What carries a trial's reports to the intake, and what runs its program on this machine.

    tail        the report file, read as numbered lines
    connection  HTTP/1.1 over a socket, by hand
    intake      questions and answers over such connections
    shipper     hello, lines, eof: the whole conversation, a step at a time
    folder      the files around one trial
    log         what an agent has to say of itself
    program     the trial's program: started, ended, its end noted
    agent       all of it, for one trial on this machine

Runs as `python -I -S`, with as few imports as it can do with: there is one of these beside every trial.
"""
