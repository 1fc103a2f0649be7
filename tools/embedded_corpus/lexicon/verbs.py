"""The verb table.

A section header gives the frame: `subject` classes and the complements `acc` (classes), `dat` (a person),
`prep` (German preposition, case, English preposition, classes), `place` (where, whereto, surface, onto), `refl`;
`share` weighs the section. A line is: German infinitive ("|" after a separable prefix), third person singular present,
preterite, participle ("-" regular), auxiliary (h haben, s sein), English base[/past/participle] and its particles
("|" before a particle that follows a pronoun object).
"""

VERBS = """
[subject=person share=5]
arbeiten - - - h work
schlafen schläft schlief geschlafen h sleep/slept/slept
lachen - - - h laugh
singen - sang gesungen h sing/sang/sung
auf|stehen - stand aufgestanden s get/got/got up
spielen - - - h play
tanzen - - - h dance
lernen - - - h study
ein|schlafen schläft schlief eingeschlafen s fall/fell/fallen asleep
weinen - - - h cry
frühstücken - - - h have/had/had breakfast
auf|wachen - - - s wake/woke/woken up
zurück|kommen - kam zurückgekommen s come/came/come back
ein|kaufen - - - h shop
schwimmen - schwamm geschwommen s swim/swam/swum
fern|sehen sieht sah ferngesehen h watch television
lächeln - - - h smile
nach|denken - dachte nachgedacht h reflect
reisen - - - s travel
ab|reisen - - - s depart
rauchen - - - h smoke
auf|geben gibt gab aufgegeben h give/gave/given up
schweigen - schwieg geschwiegen h remain silent
[subject=person refl=yes share=1.2]
aus|ruhen - - - h rest
beeilen - - - h hurry
hin|setzen - - - h sit/sat/sat down
um|ziehen - zog umgezogen h get/got/got changed
hin|legen - - - h lie/lay/lain down
[subject=animal share=2]
schlafen schläft schlief geschlafen h sleep/slept/slept
fressen frisst fraß gefressen h eat/ate/eaten
trinken - trank getrunken h drink/drank/drunk
weg|laufen läuft lief weggelaufen s run/ran/run away
[subject=animal acc=food]
fressen frisst fraß gefressen h eat/ate/eaten
stehlen stiehlt stahl gestohlen h steal/stole/stolen
[subject=animal acc=animal,person share=2]
sehen sieht sah gesehen h see/saw/seen
jagen - - - h chase
beißen - biss gebissen h bite/bit/bitten
verfolgen - - - h pursue
fürchten - - - h fear
[subject=animal place=whereto]
laufen läuft lief gelaufen s run/ran/run
[subject=pet place=seat]
sitzen - saß gesessen h sit/sat/sat
[subject=person acc=food,food_mass share=3]
essen isst aß gegessen h eat/ate/eaten
kaufen - - - h buy/bought/bought
schneiden - schnitt geschnitten h cut/cut/cut
bestellen - - - h order
probieren - - - h taste
[subject=person acc=cooked share=0.6]
kochen - - - h cook
[subject=person acc=baked share=0.6]
backen bäckt backte gebacken h bake
[subject=person acc=drink share=1.5]
trinken - trank getrunken h drink/drank/drunk
bestellen - - - h order
kaufen - - - h buy/bought/bought
verschütten - - - h spill
[subject=person acc=object,clothing,document share=5]
kaufen - - - h buy/bought/bought
suchen - - - h look for
finden - fand gefunden h find/found/found
brauchen - - - h need
verlieren - verlor verloren h lose/lost/lost
vergessen vergisst vergaß vergessen h forget/forgot/forgotten
mit|bringen - brachte mitgebracht h bring/brought/brought along
verkaufen - - - h sell/sold/sold
holen - - - h fetch
bezahlen - - - h pay/paid/paid for
bekommen - bekam bekommen h receive
zurück|bringen - brachte zurückgebracht h take/took/taken back
weg|werfen wirft warf weggeworfen h throw/threw/thrown away
auf|heben - hob aufgehoben h pick/picked/picked up
verstecken - - - h hide/hid/hidden
aus|packen - - - h unpack
ein|packen - - - h pack
behalten behält behielt behalten h keep/kept/kept
stehlen stiehlt stahl gestohlen h steal/stole/stolen
berühren - - - h touch
[subject=person acc=object share=1.2]
benutzen - - - h use
putzen - - - h clean
tragen trägt trug getragen h carry
zerbrechen zerbricht zerbrach zerbrochen h break/broke/broken
[subject=person acc=device,owned]
reparieren - - - h repair
prüfen - - - h check
[subject=person acc=device share=1.2]
ein|schalten - - - h turn/turned/turned on
aus|schalten - - - h turn/turned/turned off
[subject=person acc=door share=1.2]
öffnen - - - h open
schließen - schloss geschlossen h close
auf|machen - - - h open
zu|machen - - - h close
streichen - strich gestrichen h paint
[subject=person acc=clothing share=1.5]
an|ziehen - zog angezogen h put/put/put on
waschen wäscht wusch gewaschen h wash
aus|ziehen - zog ausgezogen h take/took/taken off
an|probieren - - - h try on
nähen - - - h sew/sewed/sewn
[subject=person acc=document share=3]
lesen liest las gelesen h read/read/read
schreiben - schrieb geschrieben h write/wrote/written
übersetzen - - - h translate
unterschreiben - unterschrieb unterschrieben h sign
vor|lesen liest las vorgelesen h read/read/read aloud
drucken - - - h print
ab|schreiben - schrieb abgeschrieben h copy
veröffentlichen - - - h publish
verbrennen - verbrannte verbrannt h burn
[subject=person acc=owned share=1.2]
kaufen - - - h buy/bought/bought
verkaufen - - - h sell/sold/sold
mieten - - - h rent
waschen wäscht wusch gewaschen h wash
[subject=person acc=transit share=0.8]
verpassen - - - h miss
sehen sieht sah gesehen h see/saw/seen
nehmen nimmt nahm genommen h take/took/taken
[subject=person acc=person,family share=5]
sehen sieht sah gesehen h see/saw/seen
besuchen - - - h visit
treffen trifft traf getroffen h meet/met/met
fragen - - - h ask
an|rufen - rief angerufen h call
ein|laden lädt lud eingeladen h invite
verstehen - verstand verstanden h understand/understood/understood
ab|holen - - - h pick |up
begrüßen - - - h greet
kennen - kannte gekannt h know/knew/known
lieben - - - h love
vermissen - - - h miss
warnen - - - h warn
unterrichten - - - h teach/taught/taught
retten - - - h rescue
bewundern - - - h admire
überraschen - - - h surprise
loben - - - h praise
begleiten - - - h accompany
beobachten - - - h observe
wecken - - - h wake/woke/woken
stören - - - h disturb
umarmen - - - h hug
aus|lachen - - - h mock
[subject=person acc=animal share=1.2]
sehen sieht sah gesehen h see/saw/seen
füttern - - - h feed/fed/fed
suchen - - - h look for
streicheln - - - h stroke
fangen fängt fing gefangen h catch/caught/caught
malen - - - h paint
[subject=person acc=building share=1.2]
besuchen - - - h visit
bauen - - - h build/built/built
besichtigen - - - h tour
fotografieren - - - h photograph
zeichnen - - - h draw/drew/drawn
finden - fand gefunden h find/found/found
[subject=person acc=question]
beantworten - - - h answer
verstehen - verstand verstanden h understand/understood/understood
wiederholen - - - h repeat
[subject=person acc=task,idea share=1.3]
verstehen - verstand verstanden h understand/understood/understood
vergessen vergisst vergaß vergessen h forget/forgot/forgotten
besprechen bespricht besprach besprochen h discuss
ändern - - - h change
ab|lehnen - - - h reject
verraten verrät verriet verraten h reveal
[subject=person acc=task]
lösen - - - h solve
[subject=person acc=tale]
erzählen - - - h tell/told/told
glauben - - - h believe
hören - - - h hear/heard/heard
[subject=person acc=music]
singen - sang gesungen h sing/sang/sung
hören - - - h hear/heard/heard
[subject=person acc=film]
sehen sieht sah gesehen h see/saw/seen
loben - - - h praise
[subject=person acc=instrument]
spielen - - - h play
stimmen - - - h tune
[subject=person acc=picture]
malen - - - h paint
zeichnen - - - h draw/drew/drawn
auf|hängen - - - h hang/hung/hung up
verkaufen - - - h sell/sold/sold
[subject=person acc=event share=2]
planen - - - h plan
vor|bereiten - - - h prepare
organisieren - - - h organise
genießen - genoss genossen h enjoy
verschieben - verschob verschoben h postpone
ab|sagen - - - h cancel
[subject=person dat=yes share=2]
helfen hilft half geholfen h help
danken - - - h thank
antworten - - - h answer
zu|hören - - - h listen to
folgen - - - s follow
vertrauen - - - h trust
gratulieren - - - h congratulate
verzeihen - verzieh verziehen h forgive/forgave/forgiven
widersprechen widerspricht widersprach widersprochen h contradict
begegnen - - - s encounter
drohen - - - h threaten
[subject=person dat=yes acc=object,clothing,document,picture share=3]
geben gibt gab gegeben h give/gave/given
zeigen - - - h show/showed/shown
schenken - - - h give/gave/given
bringen - brachte gebracht h bring/brought/brought
schicken - - - h send/sent/sent
leihen - lieh geliehen h lend/lent/lent
verkaufen - - - h sell/sold/sold
zurück|geben gibt gab zurückgegeben h return
an|bieten - bot angeboten h offer
[subject=person dat=yes acc=idea,task,question,event share=1.3]
erklären - - - h explain
beschreiben - beschrieb beschrieben h describe
[subject=person dat=yes acc=document,film share=0.5]
empfehlen empfiehlt empfahl empfohlen h recommend
[subject=person prep=mit,dat,to,person,family]
sprechen spricht sprach gesprochen h speak/spoke/spoken
[subject=person prep=auf,acc,for,person,family,transit share=1.2]
warten - - - h wait
[subject=person prep=über,acc,about,topic,film,person share=1.2]
sprechen spricht sprach gesprochen h speak/spoke/spoken
nach|denken - dachte nachgedacht h think/thought/thought
[subject=person prep=über,acc,at,tale]
lachen - - - h laugh
[subject=person prep=an,acc,of,person,family,event]
denken - dachte gedacht h think/thought/thought
[subject=person prep=von,dat,of,event,person,place]
träumen - - - h dream
[subject=person prep=an,dat,on,document,task]
arbeiten - - - h work
[subject=person prep=an,dat,in,event]
teil|nehmen nimmt nahm teilgenommen h take/took/taken part
[subject=person prep=auf,acc,to,event refl=yes]
freuen - - - h look forward
[subject=person prep=auf,acc,for,event refl=yes]
vor|bereiten - - - h prepare
[subject=person prep=um,acc,of,person,family,animal refl=yes]
kümmern - - - h take/took/taken care
[subject=person prep=an,acc,-,person,event refl=yes]
erinnern - - - h remember
[subject=person prep=über,acc,about,idea,event refl=yes]
beschweren - - - h complain
[subject=person prep=bei,dat,to,person,family refl=yes]
entschuldigen - - - h apologise
[subject=person prep=mit,dat,with,person,family refl=yes]
unterhalten unterhält unterhielt unterhalten h chat
streiten - stritt gestritten h argue
[subject=person place=where share=3]
wohnen - - - h live
arbeiten - - - h work
bleiben - blieb geblieben s stay
warten - - - h wait
essen isst aß gegessen h eat/ate/eaten
übernachten - - - h spend/spent/spent the night
[subject=person place=seat share=1]
sitzen - saß gesessen h sit/sat/sat
[subject=person place=whereto share=4]
gehen - ging gegangen s go/went/gone
fahren fährt fuhr gefahren s drive/drove/driven
kommen - kam gekommen s come/came/come
laufen läuft lief gelaufen s run/ran/run
zurück|kehren - - - s return
[subject=person place=city share=1]
fliegen - flog geflogen s fly/flew/flown
um|ziehen - zog umgezogen s move
[subject=vehicle share=1]
ab|fahren fährt fuhr abgefahren s leave/left/left
an|kommen - kam angekommen s arrive
[subject=vehicle place=city share=1]
fahren fährt fuhr gefahren s go/went/gone
[subject=object,document,clothing place=surface share=3]
liegen - lag gelegen h lie/lay/lain
[subject=device,timepiece place=surface]
stehen - stand gestanden h stand/stood/stood
[subject=person acc=object,document,clothing place=onto share=1.5]
legen - - - h put/put/put
[subject=person acc=device,timepiece place=onto]
stellen - - - h place
[subject=object,document,clothing,owned dat=yes share=1.5]
gehören - - - h belong to
[subject=device share=1]
funktionieren - - - h work
[subject=event share=2]
beginnen - begann begonnen h begin/began/begun
statt|finden - fand stattgefunden h take/took/taken place
enden - - - h end
[subject=weather share=1]
regnen - - - h rain
schneien - - - h snow
[subject=person clause=that share=1]
wissen weiß wusste gewusst h know/knew/known
glauben - - - h believe
sagen - - - h say/said/said
hoffen - - - h hope
denken - dachte gedacht h think/thought/thought
hören - - - h hear/heard/heard
behaupten - - - h claim
bemerken - - - h notice
vermuten - - - h suspect
berichten - - - h report
erfahren erfährt erfuhr erfahren h learn
[subject=person clause=whether share=1]
fragen - - - h ask
prüfen - - - h check
überlegen - - - h consider
[subject=person clause=to share=1]
versuchen - - - h try
beginnen - begann begonnen h begin/began/begun
vergessen vergisst vergaß vergessen h forget/forgot/forgotten
hoffen - - - h hope
versprechen verspricht versprach versprochen h promise
beschließen - beschloss beschlossen h decide
planen - - - h plan
[subject=special share=1]
kosten - - - h cost/cost/cost
dauern - - - h last
geben gibt gab gegeben h be
haben hat hatte gehabt h have/had/had
werden wird wurde geworden s become/became/become
"""

# Verbs that take no progressive: is knowing.
STATES = """
kennen lieben brauchen verstehen glauben wissen gehören vergessen sehen hören bewundern vermissen finden verlieren
bekommen behalten bemerken fürchten erinnern vertrauen träumen verzeihen begegnen genießen verpassen wohnen aufwachen
verschütten
"""
# Verbs with which no adverbial of time or frequency goes well, nor can they be told as events.
STATIC = """
kennen lieben brauchen gehören glauben vertrauen fürchten bewundern vermissen verstehen liegen stehen haben verraten
"""
# Verbs for what nobody wants or has to do, beside the static ones.
INVOLUNTARY = "verlieren verpassen verschütten bekommen aufwachen begegnen vergessen"
# Verbs for what has gone on for a time (seit), and for what goes on until something happens.
LASTING = "wohnen arbeiten warten kennen schlafen spielen lernen tanzen"
ENDURING = "warten arbeiten schlafen bleiben spielen tanzen lernen schweigen"
# Verbs whose objects may be many.
LISTING = """
kaufen suchen brauchen mitbringen verkaufen bestellen essen holen finden verlieren bezahlen bekommen einpacken
auspacken verstecken vergessen sehen probieren schneiden
"""
