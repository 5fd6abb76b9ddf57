namespace Irpwright.Wdk;

/// <summary>
/// A structured exception: a status that a kernel routine raised, or a fault that drivers may handle. C# drivers catch it where C drivers
/// use __except; between compiled drivers it is carried from handler to handler by their own tables.
/// </summary>
/// <param name="status">EXCEPTION_RECORD.ExceptionCode.</param>
/// <param name="message">What happened, as a sentence; null where the status says everything.</param>
/// <param name="parameters">EXCEPTION_RECORD.ExceptionInformation; for an access violation 0, 1 or 8 (read, write, execute) and the address.</param>
public class NtStatusException(NTSTATUS status, string? message = null, params ulong[] parameters) : Exception(message ?? $"{status.Name} was raised.")
{
    public NTSTATUS Status { get; } = status;

    public IReadOnlyList<ulong> Parameters { get; } = parameters;

    /// <summary>The instruction that faulted, or behind the call that raised; 0 where C# code did.</summary>
    public ulong Address { get; init; }

    /// <summary>Whether a filter may answer EXCEPTION_CONTINUE_EXECUTION.</summary>
    public bool IsContinuable { get; init; }

    /// <summary>The record that handlers in compiled code were shown; null as long as none was asked.</summary>
    public PEXCEPTION_RECORD ExceptionRecord { get; set; }

    /// <summary>The registers that handlers in compiled code were shown; null as long as none was asked.</summary>
    public PCONTEXT ContextRecord { get; set; }
}
