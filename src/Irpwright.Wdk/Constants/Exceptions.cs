namespace Irpwright.Wdk;

/// <summary><c>EXCEPTION_RECORD.ExceptionFlags</c>.</summary>
[Flags]
public enum EXCEPTION_FLAGS : uint
{
    EXCEPTION_NONCONTINUABLE = 0x01,
    EXCEPTION_UNWINDING = 0x02,
    EXCEPTION_EXIT_UNWIND = 0x04,
    EXCEPTION_STACK_INVALID = 0x08,
    EXCEPTION_NESTED_CALL = 0x10,
    EXCEPTION_TARGET_UNWIND = 0x20,
    EXCEPTION_COLLIDED_UNWIND = 0x40,
}

/// <summary>What a language handler wants to be done.</summary>
public enum EXCEPTION_DISPOSITION
{
    ExceptionContinueExecution = 0,
    ExceptionContinueSearch = 1,
    ExceptionNestedException = 2,
    ExceptionCollidedUnwind = 3,
}

public static partial class Constants
{
    // What an exception filter returns.
    public const int EXCEPTION_EXECUTE_HANDLER = 1;
    public const int EXCEPTION_CONTINUE_SEARCH = 0;
    public const int EXCEPTION_CONTINUE_EXECUTION = -1;

    public const int EXCEPTION_MAXIMUM_PARAMETERS = 15;

    // CONTEXT.ContextFlags: which parts of it count.
    public const uint CONTEXT_AMD64 = 0x0010_0000;
    public const uint CONTEXT_CONTROL = CONTEXT_AMD64 | 0x1;
    public const uint CONTEXT_INTEGER = CONTEXT_AMD64 | 0x2;
    public const uint CONTEXT_SEGMENTS = CONTEXT_AMD64 | 0x4;
    public const uint CONTEXT_FLOATING_POINT = CONTEXT_AMD64 | 0x8;
    public const uint CONTEXT_FULL = CONTEXT_CONTROL | CONTEXT_INTEGER | CONTEXT_FLOATING_POINT;

    // Which kind of handler RtlVirtualUnwind looks for; the same bits say in UNWIND_INFO which kind there is.
    public const uint UNW_FLAG_NHANDLER = 0;
    public const uint UNW_FLAG_EHANDLER = 1;
    public const uint UNW_FLAG_UHANDLER = 2;
    public const uint UNW_FLAG_CHAININFO = 4;
}
