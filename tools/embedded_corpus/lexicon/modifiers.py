"""The adjective, adverb, subordinator and name tables.

An adjective line is: German, comparative stem ("-" regular, "!" none), English[/irregular comparative], and the
noun classes it describes. An adverb line is German = English; "_" stands for a space.
"""

ADJECTIVES = """
alt ält old adult,animal,thing,vehicle,place,picture,instrument,surface,door,tale
jung jüng young adult,animal
neu - new job,thing,vehicle,place,event,topic,instrument,surface,door,task,picture,film,music,question,idea
klein - small child,animal,object,clothing,vehicle,place,food,surface,picture,door
groß größ big animal,vehicle,place,food,surface,picture,task,door
schön - beautiful animal,thing,vehicle,place,picture,music,event,film,instrument,tale
müde - tired person,animal,family
freundlich - friendly person,family
wichtig - important document,question,task,idea,event
interessant - interesting document,film,question,task,idea,tale,event
frisch - fresh food,stuff
krank kränk sick person,animal,family
rot röt red object,clothing,vehicle,door
lang läng long document,film,event,question,tale,clothing,music
teuer - expensive thing,vehicle,instrument,stuff,surface,picture,event
schnell - fast vehicle
kurz kürz short document,film,event,question,tale,music
glücklich - happy person,family
berühmt - famous adult,place,picture,film,music
reif - ripe fruit
kalt kält cold drink
schwarz ! black clothing,vehicle,animal,object
heiß - hot drink
blau ! blue object,clothing,vehicle,door
reich - rich adult,family
süß - sweet fruit,baked
klug klüg clever person,animal,family
schwierig - difficult question,task,event,idea
warm wärm warm clothing,drink,room
arm ärm poor adult,family
grün ! green object,clothing,vehicle,door,fruit
weiß ! white clothing,vehicle,animal,object
leicht - light object,clothing
schwer - heavy object,surface
spannend - exciting document,film,tale,event
traurig - sad person,film,tale,music,family
lustig - funny person,film,tale,document
fleißig - diligent person,family
ruhig - quiet person,place,family
gefährlich - dangerous animal,idea,task
nett - nice person,family
billig - cheap thing,vehicle,instrument
gut ! good stuff,document,film,question,event,instrument,vehicle,music,picture,food
hell - bright room,building
modern - modern building,device,vehicle,room
hungrig - hungry person,animal,family
einfach - simple question,task,idea
stark stärk strong animal
langweilig - boring document,film,tale,event
mutig - brave person,family
wild - wild animal
gelb ! yellow object,clothing,vehicle,fruit
seltsam - strange person,document,question,idea,tale,thing
höflich - polite person
breit - wide door
gesund gesünd healthy person,animal,fruit
leer ! empty building,room,surface,vehicle
hoch höh high building,door
streng - strict adult
dunkel - dark room,clothing
stolz - proud person,family
braun ! brown clothing,animal,surface,object
schmutzig - dirty object,clothing,vehicle,room
lecker - tasty food,stuff
ehrlich - honest person
langsam - slow vehicle,animal
fröhlich - cheerful person,music,event
geduldig - patient person,family
sauber - clean clothing,room,object
wertvoll - valuable object,picture,document,instrument
nervös - nervous person
wütend - angry person,family,animal
kaputt ! broken device,vehicle,door,timepiece,instrument
vorsichtig - careful person
praktisch - practical object,idea,device
faul - lazy person,animal
bitter - bitter stuff
bequem - comfortable clothing,surface,room
elegant - elegant clothing,vehicle
laut - loud music,device,event,vehicle
neugierig - curious person,animal
gemütlich - cosy room,building
historisch ! historic building
rund ! round surface,object
einsam - lonely person
scheu - shy animal
ungewöhnlich - unusual idea,question,picture
zufrieden - satisfied person,family
grau ! grey clothing,animal
modisch - fashionable clothing
frei ! free seat
treu - loyal animal,person
"""

# A sentence's place on the time axis decides which of these can go with it.
PAST_TIMES = """
gestern = yesterday
letzte_Woche = last week
gestern_Abend = yesterday evening
vorgestern = the day before yesterday
letztes_Jahr = last year
am_Wochenende = at the weekend
damals = back then
letzten_Monat = last month
kürzlich = recently
heute_Morgen = this morning
einmal = once
"""

PRESENT_TIMES = """
heute = today
jeden_Tag = every day
am_Wochenende = at the weekend
jeden_Morgen = every morning
jeden_Abend = every evening
jede_Woche = every week
jedes_Jahr = every year
nachts = at night
mittags = at noon
"""

FUTURE_TIMES = """
morgen = tomorrow
nächste_Woche = next week
bald = soon
übermorgen = the day after tomorrow
heute_Abend = this evening
nächstes_Jahr = next year
nächsten_Monat = next month
später = later
morgen_früh = tomorrow morning
"""

WEEKDAYS = (
    "Montag=Monday Freitag=Friday Sonntag=Sunday Samstag=Saturday Dienstag=Tuesday Mittwoch=Wednesday "
    "Donnerstag=Thursday"
)
MONTHS = (
    "Mai=May Juli=July August=August Dezember=December Januar=January Juni=June März=March September=September "
    "Oktober=October April=April Februar=February November=November"
)
SEASONS = "Sommer=summer Winter=winter Herbst=autumn Frühling=spring"

FREQUENCIES = "oft=often immer=always manchmal=sometimes selten=rarely nie=never meistens=usually"

MANNERS = """
allein = alone
schnell = quickly
langsam = slowly
sofort = immediately
wieder = again
heimlich = secretly
vorsichtig = carefully
"""

# Sentence adverbs stand in front of the finite verb; most are set off with a comma in English.
SENTENCE_ADVERBS = """
leider = unfortunately
vielleicht = perhaps
wahrscheinlich = probably
deshalb = therefore
natürlich = of_course
trotzdem = nevertheless
zum_Glück = fortunately
offenbar = apparently
außerdem = moreover
"""

SEQUENCE_ADVERBS = "dann=then danach=afterwards schließlich=finally zuerst=first"

SUBORDINATORS = (
    "weil=because wenn=when obwohl=although während=while bevor=before nachdem=after da=since als=when "
    "sobald=as_soon_as falls=if bis=until damit=so_that"
)

MEN = "Peter Paul Martin Stefan Michael Daniel Jan David Karl Otto Tim Leon Simon Robert"
WOMEN = "Anna Maria Julia Laura Sabine Lena Eva Clara Emma Petra Monika Sofia Karin Nina"
SURNAMES = (
    "Müller Schneider Fischer Weber Wagner Becker Hoffmann Schröder Neumann Zimmermann Braun Krüger Hartmann Lange"
)
CITIES = (
    "Berlin=Berlin Hamburg=Hamburg München=Munich Köln=Cologne Wien=Vienna Paris=Paris London=London Zürich=Zurich "
    "Frankfurt=Frankfurt Leipzig=Leipzig Rom=Rome Prag=Prague Dresden=Dresden Madrid=Madrid Bremen=Bremen "
    "Warschau=Warsaw Stuttgart=Stuttgart Lissabon=Lisbon Brüssel=Brussels Nürnberg=Nuremberg"
)
COUNTRIES = (
    "Deutschland=Germany Italien=Italy Frankreich=France Spanien=Spain Österreich=Austria England=England "
    "Polen=Poland Griechenland=Greece Schweden=Sweden Japan=Japan Kanada=Canada Portugal=Portugal"
)
QUANTIFIERS = "viele=many einige=some mehrere=several alle=all wenige=few"
