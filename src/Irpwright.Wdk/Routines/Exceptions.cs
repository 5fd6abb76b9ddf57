namespace Irpwright.Wdk;

/// <summary>
/// A language handler: called for a frame while a handler is searched (the flags are clear), and again while the frame is unwound.
/// </summary>
[Routine]
public delegate EXCEPTION_DISPOSITION EXCEPTION_ROUTINE(PEXCEPTION_RECORD ExceptionRecord, PVOID EstablisherFrame, PCONTEXT ContextRecord,
    PDISPATCHER_CONTEXT DispatcherContext);
